"""What Slurm makes of the audit: drains with our own tag, lifted by nobody but us, and a breaker.

`cli` is what slurmd runs (HealthCheckProgram, Prolog, Epilog). `decide` says what should happen,
without looking at anything; `act` does it through `controller`, which is scontrol. What one run
keeps for the next is `record`. docs/explanation/draining.md says why each rule is there.
"""
