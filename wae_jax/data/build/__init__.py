"""From MIDI files, Multitracks and arrays to a dataset of packed rows: `build_dataset`.

Readers, segmentation, rasterizing, deduplication and split, the writer; reading a finished dataset is in `data`.
May import what `data` may.
"""
