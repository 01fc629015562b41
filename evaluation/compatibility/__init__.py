"""Whether a new model's queries work against galleries that older models extracted: protocol, measures, verdict."""
