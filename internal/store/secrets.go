package store

// SecretReader is what can be read of Secrets Manager and Parameter Store.
type SecretReader interface{}

// SecretWriter is what can be written of them.
type SecretWriter interface{}
