"""What a practitioner does with a law: intervals, report, plots."""
