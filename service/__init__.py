"""Bundle, store and requests in; recommendations out (never torch)."""
