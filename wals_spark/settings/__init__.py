"""The settings of every job, with defaults, meaning and limits: one file per job."""
