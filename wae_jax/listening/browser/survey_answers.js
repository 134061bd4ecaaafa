'use strict';
// What one listener has answered so far: kept in the browser, and handed in as a file.

// FNV-1a, 32 bits, of a value as JSON, all of it ASCII: the same few lines as in survey_results.py.
function checksum(value) {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(JSON.stringify(value))) state = Math.imul(state ^ byte, 0x01000193);
  return (state >>> 0).toString(16).padStart(8, '0');
}

function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

class Answers {
  #survey;
  #store;
  #state;

  // `survey` is the page's data.
  constructor(survey) {
    this.#survey = survey;
    // By this name, so that another survey's answers do not turn up.
    this.#store = `wae_jax survey ${survey.survey}`;
    this.isKept = true;
    this.#state = this.#read() ?? this.#fresh();
    this.#write();
  }

  // Which screen: 0 is the first, 1 the practice pair, and the one after the last pair is the end.
  get place() {
    return this.#state.place;
  }

  set place(place) {
    this.#state.place = place;
    this.#write();
  }

  // The answer to a pair, 0 being that for practice: {heard: [A, B], ratings: [of A, of B], preference}, with null for
  // what has not been answered.
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

  // What is handed in: all but the pair for practice.
  result() {
    const { survey, format, format_version: version, key } = this.#survey;
    const answers = this.#state.answers.slice(1).map(({ preference, ratings }) => [preference, ...ratings]);
    const result = {
      format, format_version: version, survey, listener: this.#state.listener, saved: new Date().toISOString(), answers, key,
    };
    return { ...result, checksum: checksum(Object.values(result)) };
  }

  restart() {
    this.#state = this.#fresh();
    this.#write();
  }

  #fresh() {
    const { pairs, questions } = this.#survey;
    const unrated = () => questions.map(() => null);
    const unanswered = () => ({ heard: [false, false], ratings: [unrated(), unrated()], preference: null });
    return { listener: randomName(), place: 0, answers: pairs.map(unanswered) };
  }

  // What the browser kept, or null if that is nothing, or not what this page wrote.
  #read() {
    try {
      const state = JSON.parse(localStorage.getItem(this.#store));
      return this.#isState(state) ? state : null;
    } catch {
      return null;
    }
  }

  #isState(state) {
    const { pairs, questions } = this.#survey;
    const isRating = (rating) => rating === null || [1, 2, 3, 4, 5].includes(rating);
    return (
      typeof state.listener === 'string' && Number.isInteger(state.place) &&
      state.place >= 0 && state.place <= pairs.length + 1 && state.answers.length === pairs.length &&
      state.answers.every(({ heard, ratings, preference }) =>
        heard.length === 2 && heard.every((value) => typeof value === 'boolean') &&
        ratings.length === 2 && ratings.every((row) => row.length === questions.length && row.every(isRating)) &&
        [null, 'A', 'B', 'none'].includes(preference))
    );
  }

  #write() {
    try {
      localStorage.setItem(this.#store, JSON.stringify(this.#state));
    } catch {
      this.isKept = false; // A browser may keep nothing for pages from disk.
    }
  }
}
