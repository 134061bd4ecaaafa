"""The manifest is a JobSet that makes sense, also for the runs of a sweep."""

import subprocess

import back_ends
import yaml

from tests.helpers import ROOT
from tests.launch.stubs import LAUNCH, SWEEP, calls

# The fields of JobSet, Job and Pod that the manifest may use, with their types, from the reference of
# jobset.x-k8s.io/v1alpha2, batch/v1 and core/v1. Fields with ! are required.
CONTAINER = {
    "name!": str,
    "image!": str,
    "workingDir": str,
    "command": [str],
    "args": [str],
    "ports": [{"containerPort!": int}],
    "resources": {"limits": {"nvidia.com/gpu": int, "google.com/tpu": int}},
    "volumeMounts": [{"name!": str, "mountPath!": str}],
}
POD = {
    "restartPolicy!": str,
    "terminationGracePeriodSeconds": int,
    "containers!": [CONTAINER],
    "nodeSelector": {"cloud.google.com/gke-tpu-topology": str, "cloud.google.com/gke-tpu-accelerator": str},
    "volumes": [{"name!": str, "persistentVolumeClaim!": {"claimName!": str}}],
}
JOB = {
    "completionMode!": str,
    "parallelism!": int,
    "completions!": int,
    "backoffLimit!": int,
    "template!": {"spec!": POD},
}
JOB_SET = {
    "apiVersion!": str,
    "kind!": str,
    "metadata!": {"name!": str},
    "spec!": {
        "failurePolicy": {"maxRestarts!": int},
        "replicatedJobs!": [{"name!": str, "replicas": int, "template!": {"spec!": JOB}}],
    },
}


def check_schema(value, schema, place):
    if isinstance(schema, dict):
        assert isinstance(value, dict), place
        fields = {name.rstrip("!"): inner for name, inner in schema.items()}
        assert set(value) <= set(fields), f"{place}: {set(value) - set(fields)}"
        assert {name[:-1] for name in schema if name.endswith("!")} <= set(value), place
        for name, inner in value.items():
            check_schema(inner, fields[name], f"{place}.{name}")
    elif isinstance(schema, list):
        assert isinstance(value, list), place
        for i, inner in enumerate(value):
            check_schema(inner, schema[0], f"{place}[{i}]")
    else:
        assert type(value) is schema, f"{place} is {value!r}"


def check_manifest(text):
    """One JobSet that makes sense; its name and main's flags."""
    job_set = yaml.safe_load(text)
    check_schema(job_set, JOB_SET, "")
    assert (job_set["apiVersion"], job_set["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    [worker] = job_set["spec"]["replicatedJobs"]
    job = worker["template"]["spec"]
    [container] = job["template"]["spec"]["containers"]
    flags = container["args"]
    # Indexed pods have numbers; all are needed, and one that fails fails the job, so that all are started again.
    assert (job["completionMode"], job["backoffLimit"]) == ("Indexed", 0)
    assert job["parallelism"] == job["completions"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    name = job_set["metadata"]["name"]
    # Pods are called <set>-<job>-<replica>-<index>-<5 letters>, and the set is their domain.
    assert len(f"{name}-{worker['name']}-0-00-abcde") <= 63
    port = container["ports"][0]["containerPort"]
    assert flags[0] == f"--coordinator={name}-{worker['name']}-0-0.{name}:{port}"
    assert flags[1] == f"--num_processes={job['parallelism']}"
    assert flags[2] == "--process_id=$(JOB_COMPLETION_INDEX)"
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in job["template"]["spec"]["volumes"]}
    return name, flags[3:]


def test_the_manifest_is_one_of_a_jobset():
    name, flags = check_manifest((LAUNCH / "kubernetes.yaml").read_text())
    assert name == "wae-jax"
    assert flags[:2] == ["--join_seconds=600", "--status_when_stopped=75"]
    assert (ROOT / flags[2].removeprefix("--config=").partition(":")[0]).is_file()


def test_a_manifest_for_another_run_has_its_name_and_flags():
    manifest = back_ends.manifest
    given = ["--config=c:a=1,b=2", "--workdir=/shared/it's # one", "--config.model.kernel_size=(6, 6)"]
    names = set()
    for run in ("penalty_weight=.5-seed-0", "penalty_weight=5-seed-0", "a" * 90, "a" * 91):
        name, flags = check_manifest(manifest(run, given))
        assert flags[2:] == given
        names.add(name)
    assert len(names) == 4


def test_a_sweep_is_handed_to_kubernetes(programs, tmp_path):
    programs("kubectl", "pathlib.Path(os.environ['CALLS'] + str(time.time_ns())).write_text(sys.stdin.read())")
    options = ["--back-end=kubernetes", "--launcher=--namespace=music", "--remote=/shared/sweep", "--data=/shared/data"]
    subprocess.run([*SWEEP, *options, f"--output={tmp_path / 'out'}", "--seeds=3"], check=True)
    assert calls(tmp_path, "kubectl") == [["apply", "--namespace=music", "-f", "-"]] * 2
    _, flags = check_manifest(max(tmp_path.glob("calls?*")).read_text())
    assert flags[2:] == [
        *("--config=configs/ablations.py:latent_dim=8,protocol=cpu", "--config.seed=3"),
        *("--config.data.path=/shared/data", "--workdir=/shared/sweep/latent_dim=8/seed_3"),
    ]
