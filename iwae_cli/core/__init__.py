"""What every room uses: errors, config, device, seeds, progress, atomic writes."""
