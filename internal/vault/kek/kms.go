package kek

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/corbel-build/corbel/internal/vault"
)

// awsKMS is a key of AWS KMS, or of what speaks its API.
type awsKMS struct {
	client *kms.Client
	key    string
}

// settingsTime bounds the search for region and credentials.
const settingsTime = 10 * time.Second

func openKMS(with map[string]string) (vault.KEK, error) {
	ctx, cancel := context.WithTimeout(context.Background(), settingsTime)
	defer cancel()
	c, err := config.LoadDefaultConfig(ctx, func(o *config.LoadOptions) error {
		o.Region = with["region"]
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the settings for AWS: %w", err)
	}
	if c.Region == "" {
		return nil, fmt.Errorf("no region is set for AWS: set AWS_REGION")
	}
	client := kms.NewFromConfig(c, func(o *kms.Options) {
		if e := with["endpoint"]; e != "" {
			o.BaseEndpoint = &e
		}
	})
	if e := client.Options().BaseEndpoint; e != nil { // from here or the environment
		if err := address(*e); err != nil {
			return nil, err
		}
	}
	return awsKMS{client, with["key"]}, nil
}

// purpose is the encryption context, without which KMS does not unwrap.
var purpose = map[string]string{"corbel": "root-key"}

func (k awsKMS) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{KeyId: &k.key, Plaintext: key, EncryptionContext: purpose})
	if err != nil {
		return nil, fmt.Errorf("ask AWS KMS to wrap it: %w", err)
	}
	return out.CiphertextBlob, nil
}

func (k awsKMS) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{KeyId: &k.key, CiphertextBlob: wrapped, EncryptionContext: purpose})
	if err != nil {
		return nil, fmt.Errorf("ask AWS KMS to unwrap it: %w", err)
	}
	return out.Plaintext, nil
}
