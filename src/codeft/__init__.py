"""codeft fine-tunes code pre-trained models on code tasks."""
