module github.com/iris-mcp/go-client

go 1.25
