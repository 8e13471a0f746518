"""What a trained model is worth: likelihood and active units."""
