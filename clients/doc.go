// Package clients tests the built binary with clients that other people wrote: curl, axios, ws,
// eventsource, fetch-event-source, a page in Chromium, httpx, websockets and schemathesis, each
// in the version that package.json and requirements.txt name. The server is killed in the
// middle of their streams. The tests are behind the tag clients:
//
//	make clients
package clients
