"""report.html: pages with charts as inline SVG, without a template or charting library."""
