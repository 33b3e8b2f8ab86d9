package config

// CannotWrite is for tests that run as root, whom nothing keeps from writing.
var CannotWrite = cannotWrite
