"""The terms of the objective as pure functions of arrays; the training step weights and adds them.

    minimize  reconstruction_weight * E[ c(x, G(z)) ] + penalty_weight * D(Q_z, P_z)     (arXiv 1711.01558, equation 4)

`reconstruction` has the costs c; `mmd`, `adversarial` and `divergences` the discrepancies D between the distribution of
codes Q_z and the prior P_z, which `prior` samples. No parameters, state or optimizers.
May import `pianoroll`, `config` and `array_types`.
"""
