//! Motion strength Ψ.
