"""The page that shows results: one HTML file with everything in it, drawn from the results alone."""
