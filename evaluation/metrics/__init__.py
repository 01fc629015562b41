"""How well queries find their identity: distances, protocols, scores, and how sure one may be of them."""
