"""Everything around the network: settings, data, prediction, evaluation, pictures."""
