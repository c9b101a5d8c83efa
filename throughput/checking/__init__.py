"""Looking at every sample of a source: can it be read, is it what was packed, does it decode whole?

listing, pieces, shard_listing   what there is to look at, numbered, whatever state it is in
shards                           a tar's headers, members and labels
examine, pictures, ends          one sample: read, decoded, and its own markers
worker, pool, stopping           processes that look in parallel, may crash, and outlive nobody
run, kept                        the check, and how far it has come
findings                         what was found, and its JSON
"""
