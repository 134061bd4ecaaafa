'use strict';
// What a latent panel shows as text, for a link or a file: {model, seed, name, code, keyShift, ownTempo, thresholds,
// kept, tempo}; `kept` has what is kept as A and as B, with the fields from `name` to `ownTempo`, or null.

class PanelState {
  static #MARK = '#state=';

  // The end of a link that `fromLink` reads: base64 with the characters that links may have.
  static toLink(state) {
    const bytes = new TextEncoder().encode(JSON.stringify(state));
    const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
    return PanelState.#MARK + text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  }

  // The text of the state in a link, or null if it has none; the text is not checked.
  static fromLink(hash) {
    if (!hash.startsWith(PanelState.#MARK)) return null;
    try {
      const text = atob(hash.slice(PanelState.#MARK.length).replaceAll('-', '+').replaceAll('_', '/'));
      return new TextDecoder().decode(Uint8Array.from(text, (character) => character.charCodeAt(0)));
    } catch {
      return ''; // which `parse` refuses
    }
  }

  // The state in a text. Throws an Error with a sentence for the user if there is none, or it is of another model.
  static parse(text, model) {
    let state;
    try {
      state = JSON.parse(text);
    } catch {
      throw new Error('That is no saved state, or it is damaged.');
    }
    const isList = (list, length) => Array.isArray(list) && list.length === length && list.every(Number.isFinite);
    const isPhrase = (each) => isList(each?.code, model.mean.length) && typeof each.name === 'string'
      && Number.isInteger(each.keyShift) && Math.abs(each.keyShift) <= 6
      && (each.ownTempo === null || each.ownTempo > 0);
    if (typeof state?.model !== 'string') throw new Error('That is no saved state of such a page.');
    if (state.model !== model.digest) {
      throw new Error(`That state is of another model, ${state.model.slice(0, 12)}; `
        + `this page has ${model.digest.slice(0, 12)}.`);
    }
    const isWhole = isPhrase(state) && isList(state.thresholds, model.rule.thresholds.length)
      && Number.isInteger(state.seed) && Number.isFinite(state.tempo)
      && ['A', 'B'].every((slot) => state.kept?.[slot] === null || isPhrase(state.kept?.[slot]));
    if (!isWhole) throw new Error('That saved state is damaged.');
    return state;
  }
}
