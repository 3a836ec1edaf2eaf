"""What a practitioner does with a law: a file per question, and the parts that several questions share."""
