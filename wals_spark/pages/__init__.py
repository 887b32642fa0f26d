"""Pages that people read in a browser: self-contained HTML with drawn charts, made of plain data."""
