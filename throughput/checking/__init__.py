"""Looking at every sample of a source: can it be read, is it what was packed, does it decode whole?"""
