"""What pre-training hides of a text and how long texts are cut: functions on sub-tokens and their tree."""
