"""The Fine-tune panel: paint, learn, segment the rest."""
