// Package chaos kills things at random while Iris works, and counts what is left: no message
// lost, none ended twice, nothing done a second time, no process left over, nobody kept waiting.
// The program is the real one, the agents the scripted CLI or the real one on the scripted
// model.
//
// The tests carry the build tag chaos. `make chaos` runs them longer than the suite does,
// `make soak` for an hour; IRIS_CHAOS=N makes them N times as long, IRIS_SOAK says how long
// processes are killed.
package chaos
