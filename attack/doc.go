// Package attack does to a running iris-mcp what its worst neighbours would: bad input of
// every kind, bodies without end, keys that are guessed, hundreds of sockets that send or read
// too slowly. Nothing of it may be answered with a 5xx, cost much memory, or be felt by those
// who ask as they should.
//
// The tests build the program, start it with the scripted CLI, and carry the build tag attack:
// `make attack` runs them where no network can be reached. docs/benchmarks.md has their
// figures.
package attack
