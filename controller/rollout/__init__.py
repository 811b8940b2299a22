"""Roll a choice out in waves: the policy, the gates and the decisions are pure; the engine's loop carries them out."""
