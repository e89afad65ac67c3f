"""Who asks: signing in, and the gate that every request of a served page goes through."""
