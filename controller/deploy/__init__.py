"""One deploy from request to completed rollout: settings, stages, pipeline."""
