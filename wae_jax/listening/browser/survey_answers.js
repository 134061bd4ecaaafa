'use strict';
// The answers of one listener: stored in the browser, and saved as a results file.

// FNV-1a, 32 bits, of a value as JSON that is all ASCII, as survey/results.py computes it.
function checksum(value) {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(JSON.stringify(value))) state = Math.imul(state ^ byte, 0x01000193);
  return (state >>> 0).toString(16).padStart(8, '0');
}

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

class Answers {
  #survey;
  #store;
  #state;

  // `survey` is the data of the page.
  constructor(survey) {
    this.#survey = survey;
    // The name keeps the answers of different surveys apart.
    this.#store = `wae_jax survey ${survey.survey}`;
    this.isStored = true;
    this.#state = this.#read() ?? this.#initial();
    this.#write();
  }

  // The index of the screen: 0 is the first, 1 the pair for practice, and the one after the last pair is the end.
  get screen() {
    return this.#state.screen;
  }

  set screen(screen) {
    this.#state.screen = screen;
    this.#write();
  }

  // The answer to a pair, of which the first is for practice: {heard: [A, B], ratings: [of A, of B], preference}, with
  // null for each missing part.
  of(pair) {
    return this.#state.answers[pair];
  }

  change(pair, change) {
    change(this.of(pair));
    this.#write();
  }

  isHeard(pair) {
    return this.of(pair).heard.every(Boolean);
  }

  numMissing(pair) {
    const { ratings, preference } = this.of(pair);
    return [...ratings.flat(), preference].filter((answer) => answer === null).length;
  }

  isComplete(pair) {
    return this.isHeard(pair) && this.numMissing(pair) === 0;
  }

  // The content of the results file, without the pair for practice.
  result() {
    const { survey, format, format_version, key } = this.#survey;
    const { listener } = this.#state;
    const answers = this.#state.answers.slice(1).map(({ preference, ratings }) => [preference, ...ratings]);
    const result = { format, format_version, survey, listener, saved: new Date().toISOString(), answers, key };
    return { ...result, checksum: checksum(Object.values(result)) };
  }

  restart() {
    this.#state = this.#initial();
    this.#write();
  }

  #initial() {
    const { pairs, questions } = this.#survey;
    const unrated = () => questions.map(() => null);
    const unanswered = () => ({ heard: [false, false], ratings: [unrated(), unrated()], preference: null });
    return { listener: randomId(), screen: 0, answers: pairs.map(unanswered) };
  }

  // The state stored in the browser, or null if there is none that is valid.
  #read() {
    try {
      const state = JSON.parse(localStorage.getItem(this.#store));
      return this.#isState(state) ? state : null;
    } catch {
      return null;
    }
  }

  #isState({ listener, screen, answers }) {
    const { pairs, questions } = this.#survey;
    const isRating = (rating) => [null, 1, 2, 3, 4, 5].includes(rating);
    const isRow = (row) => row.length === questions.length && row.every(isRating);
    return (
      typeof listener === 'string' && Number.isInteger(screen) && screen >= 0 && screen <= pairs.length + 1 &&
      answers.length === pairs.length && answers.every(({ heard, ratings, preference }) =>
        heard.length === 2 && heard.every((value) => typeof value === 'boolean') &&
        ratings.length === 2 && ratings.every(isRow) && [null, 'A', 'B', 'none'].includes(preference))
    );
  }

  #write() {
    try {
      localStorage.setItem(this.#store, JSON.stringify(this.#state));
    } catch {
      this.isStored = false; // Some browsers store nothing for pages from disk.
    }
  }
}
