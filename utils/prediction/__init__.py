"""From images to masks, and what is drawn and written of them."""
