"""The runner without I/O: what comes in becomes events, what events want becomes effects."""
