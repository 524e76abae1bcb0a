"""What every domain's scores stand on: how sure a score is, and whether confidence means what it says."""
