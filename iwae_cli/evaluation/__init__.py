"""What a trained model is worth: likelihood, active units, encodings, pictures."""
