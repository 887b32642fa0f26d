"""Parts of log lines that several tests look for, so that "it is not in the log" is said of a line that there is."""

CACHE_MISS = "blocks were not solved where they are cached, or their files are not as they were"
HEAVY_ROWS_OF_ITEMS = "blocks of users compute parts of rows with more than"
HEAVY_ROWS_OF_USERS = "blocks of items compute parts of rows with more than"
STARTED_AGAIN = "training starts again from the last checkpoint or, without one, from the blocks (attempt 2 of 3)"
