// Package simulation plays whole runs in one process and in virtual time, under faults that a seed draws: the quorum, the coordinator with its sessions, ledger and record, the trainer's loop with
// its commit, copies and updates, and the all-reduce are those of production; what surrounds them is in memory. Each run must end, with the bits of the quiet run.
//
// # What is real and what is not
//
// Real: coordinator.Coordinator (in a folder in memory), trainer.Trainer, allreduce.Reducer. In their place: a network so small that its gradients are a few dozen numbers, whose sums depend on
// their order and whose every bit shows in all later states (tiny.go, network.go); membership.Fake for etcd, seen by each process through calls that take time, fail, or fail although they
// were done (registry.go); allreduce.MemoryNetwork; sessions in the same process with messages on their way (line.go); soft labels that are a function of the seed.
// The quiet run is a plain loop with a tree sum of its own (oracle.go): none of the code under test is in it.
//
// # What is held
//
// After every change of a trainer's state: the iteration is the next one, and every bit of parameters, momentum and running statistic is the quiet run's. Every generation is written by the
// coordinator that leads. The run ends within three minutes after the last fault, as finished, with the quiet run's parameters; its record has every iteration once and in order, with the
// quiet run's losses and evaluations, unless all who had it are gone; every process goes by itself; no goroutine and no buffer is left.
// The mutants (mutant.go) show that it would be found if it were not so.
//
// # What is deterministic
//
// A Schedule is a function of its seed, as are the time that each message travels and what is computed. Every process and link has moments of its own, so that no two of them act at the same
// one (lattice), and nothing random is left but the order in which Go runs the goroutines that one message wakes, and which of two ready cases a select takes. So a seed gives the same trace nearly
// always, not always: a failure is repeated by `go test ./cmd/dither/simulation -run TestSchedules -seed N`, a few times if need be. wire.Outstanding is the process's, so buffers are counted once
// all schedules are through, or after each with -side-by-side 1.
package simulation
