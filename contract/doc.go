// Package contract walks the contract of the HTTP side, row by row, on the built binary with
// the scripted CLI: every path, field, header, status, event and message of the design, and
// every example of it as printed. It is written from the contract and not from the code, so it
// may use nothing of the server but its address. The tests are behind the tag contract:
//
//	make contract
package contract
