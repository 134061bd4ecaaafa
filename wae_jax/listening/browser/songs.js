'use strict';
// The part of a page that opens MIDI files, and shows their phrases. Needs elements.js, networks.js, midi_song.js,
// song_bars.js and song_phrases.js; the model is the data of latent_panel.py.

class Songs {
  static #CARDS_AT_ONCE = 48;
  static #TEMPOS = [10, 1000]; // quarter notes a minute that are played

  #encoder;
  #options;
  #panel;
  #makeCard;
  #updateCards;
  #parts;
  #isOwnDrag = false;

  // Fills a section. `makeCard(phrase, buttons)` makes a card of the page, and `updateCards()` follows changes of them.
  constructor(section, model, { panel, makeCard, updateCards }) {
    this.#encoder = new Encoder(model);
    this.#options = {
      pitches: model.shape[1], lowestPitch: model.lowest_pitch, isInOneTonality: model.is_in_one_tonality,
    };
    this.#panel = panel;
    this.#makeCard = makeCard;
    this.#updateCards = updateCards;
    this.#parts = this.#build(section);
    this.#takeDrops(section);
  }

  // --- Files ------------------------------------------------------------------------------------------------------

  async #open(files) {
    const results = [];
    for (const file of files) {
      this.#say([...results, `Reading ${file.name} …`].join('\n'));
      // After the sentence is on the screen: a large file takes seconds.
      await new Promise((resolve) => { setTimeout(resolve, 20); });
      try {
        const song = await this.#read(file);
        this.#show(file, song);
        results.push(`${file.name} is open.`);
      } catch (error) {
        // The reasons are those of build_dataset, which has them after a colon.
        const reason = error instanceof SongError
          ? error.message.replace(/^unreadable/, 'is unreadable') : `cannot be read (${error.message})`;
        results.push(`${file.name} ${reason}.`);
      }
    }
    this.#say(results.join('\n'));
  }

  async #read(file) {
    // Not even loaded if it is too large.
    checkSize(file.size);
    return cutSong(readSong(new Uint8Array(await file.arrayBuffer())), this.#options);
  }

  // Files may be dropped anywhere on the page, but not what is dragged out of it.
  #takeDrops(section) {
    const hasFiles = ({ dataTransfer }) => !this.#isOwnDrag && Array.from(dataTransfer?.types ?? []).includes('Files');
    addEventListener('dragstart', () => { this.#isOwnDrag = true; });
    addEventListener('dragend', () => { this.#isOwnDrag = false; });
    addEventListener('dragover', (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = 'copy';
      section.classList.add('dropping');
    });
    addEventListener('dragleave', ({ relatedTarget }) => {
      if (relatedTarget === null) section.classList.remove('dropping');
    });
    addEventListener('drop', (event) => {
      section.classList.remove('dropping');
      if (!hasFiles(event)) return;
      event.preventDefault();
      section.scrollIntoView({ block: 'start' });
      this.#open([...event.dataTransfer.files]);
    });
  }

  // --- Songs ------------------------------------------------------------------------------------------------------

  #show(file, { phrases, numLeftOut }) {
    const box = make('div', { class: 'cards' });
    const more = makeButton('', () => this.#addCards(file, phrases, box, more));
    const close = makeButton('Close', () => {
      group.remove();
      this.#updateCards();
      this.#say(`${file.name} is closed.`);
      this.#parts.file.focus();
    }, { 'aria-label': `Close ${file.name}` });
    const key = Songs.#keyOf(file);
    // The same song is not shown twice.
    for (const shown of [...this.#parts.groups.children]) if (shown.dataset.song === key) shown.remove();
    const group = make('div', { class: 'group', 'data-song': key },
      make('div', { class: 'row' }, make('h3', {}, file.name), close),
      make('p', {}, Songs.#describe(phrases, numLeftOut)), box, make('div', { class: 'row' }, more));
    this.#parts.groups.prepend(group);
    this.#addCards(file, phrases, box, more);
  }

  static #keyOf(file) {
    return `${file.name} ${file.size}`;
  }

  static #describe(phrases, numLeftOut) {
    const keys = new Set(phrases.filter(({ transposition }) => transposition)
      .map(({ transposition: { key, by } }) => `${key} ${by}`));
    const tempos = [...new Set(phrases.map(({ tempo }) => Math.round(tempo)))].sort((a, b) => a - b);
    const range = tempos.length > 1 ? `${tempos[0]} to ${tempos.at(-1)}` : tempos[0];
    return [
      `${phrases.length} phrase${phrases.length > 1 ? 's' : ''} of four bars at ${range} bpm`,
      ...(keys.size ? [`in ${[...keys].slice(0, 3).join(', ')}${keys.size > 3 ? ' and other keys' : ''}`] : []),
      ...(numLeftOut ? [`${numLeftOut} note${numLeftOut > 1 ? 's' : ''} outside the model’s range left out`] : []),
    ].join('; ').concat('.');
  }

  #addCards(file, phrases, box, more) {
    const first = box.childElementCount;
    const added = phrases.slice(first, first + Songs.#CARDS_AT_ONCE).map((phrase) => this.#cardOf(file, phrase));
    box.append(...added);
    const left = phrases.length - box.childElementCount;
    more.textContent = `Show ${Math.min(left, Songs.#CARDS_AT_ONCE)} more of ${left}`;
    more.hidden = left === 0;
    this.#updateCards();
    if (first) added[0].querySelector('button').focus();
  }

  #cardOf(file, { firstBar, tempo, notes, inC, transposition }) {
    const bars = `bars ${firstBar + 1} to ${firstBar + BARS_PER_PHRASE}`;
    const name = `${file.name}, ${bars}`;
    const ownTempo = Math.min(Math.max(tempo, Songs.#TEMPOS[0]), Songs.#TEMPOS[1]);
    // Encoded when it is first needed.
    let code = null;
    const encoded = () => {
      code ??= this.#encoder.encode(inC);
      return { code, name: `${name}, reconstructed`, keyShift: -(transposition?.semitones ?? 0), ownTempo };
    };
    const keep = (slot) => makeButton(`Keep as ${slot}`, () => {
      this.#panel.keep(slot, encoded());
      this.#say(`${name} is kept as ${slot}.`);
    }, { 'aria-label': `Keep ${name} as ${slot}` });
    const put = makeButton('Put into the panel', () => this.#panel.open(encoded()), {
      'aria-label': `Put ${name} into the panel`,
    });
    const key = `${Songs.#keyOf(file)}/${firstBar}`;
    // Above the cards is the name of the file.
    const label = bars.replace('b', 'B');
    return this.#makeCard({ name, label, notes, tempo: ownTempo, key }, [put, keep('A'), keep('B')]);
  }

  // --- Construction -----------------------------------------------------------------------------------------------

  #say(text) {
    this.#parts.message.textContent = text;
  }

  #build(section) {
    const title = make('h2', { id: 'songs-title' }, 'Music of your own');
    const message = make('p', { id: 'songs-message', role: 'status' });
    const groups = make('div', { id: 'songs-groups' });
    const attributes = { id: 'songs-file', accept: '.mid,.midi,.kar,.smf,audio/midi', multiple: '' };
    const { input: file, label } = makeFileField('Open MIDI ', attributes, (files) => this.#open(files));
    section.setAttribute('aria-labelledby', title.id);
    section.removeAttribute('aria-label');
    section.append(
      title,
      make('p', {}, 'Open MIDI files, or drop them anywhere on this page; they stay on this computer. Each is cut into '
        + 'phrases of four bars of 4/4, as the training music was. The panel below shows the reconstruction of a '
        + 'phrase, in its own key and tempo; its sliders vary it, and halfway between A and B are phrases between two '
        + 'of them.'),
      make('div', { class: 'actions' }, label),
      message, groups,
    );
    return { file, message, groups };
  }
}
