"""What may be tried: functions that turn an optuna.Trial into a TrialConfig."""
