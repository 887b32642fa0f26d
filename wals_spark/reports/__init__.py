"""report.html: charts and pages without a library."""
