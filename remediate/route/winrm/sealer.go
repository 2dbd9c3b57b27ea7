package winrm

// sealer seals what goes over a connection with the key of a sign-in, and opens what comes. It is used by one goroutine.
type sealer interface {
	// seal may work in place: message is no longer what it was.
	seal(message []byte) (signature, sealed []byte, err error)
	// unseal checks and opens one message, in place. How long its signature has to be is for the way of signing in to say.
	unseal(part sealedPart) ([]byte, error)
}
