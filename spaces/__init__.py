"""What a search may try: functions that turn an optuna.Trial into a TrialConfig."""
