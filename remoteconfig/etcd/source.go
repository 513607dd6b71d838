package etcd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether/remoteconfig"
)

const (
	// maxDocument is the most bytes that a document may have.
	maxDocument = 1 << 20
	// maxMessage is what gRPC reads at most: a document, its key, and what is known of them.
	maxMessage = maxDocument + 64<<10
	// pingTime is how long a watch may be silent before the connection is put to the test. Polls
	// cover for a dead one meanwhile.
	pingTime = 5 * time.Minute
)

// ErrNoDocument means that etcd has no such key.
var ErrNoDocument = errors.New("etcd: no document under the key")

// Source is a document under a key of etcd. It is safe for concurrent use.
type Source struct {
	// Config tells where etcd is and what to show it. Set Endpoints, and TLS or https: nothing else
	// vouches for an unsigned document. The source's own are Context, AutoSyncInterval,
	// MaxUnaryRetries and MaxCallRecvMsgSize; without a Logger or LogConfig nothing is logged.
	Config clientv3.Config
	// Key is where the document lies.
	Key string
}

// Name implements [remoteconfig.Named].
func (s Source) Name() string { return fmt.Sprintf("%q %q", s.Config.Endpoints, s.Key) }

// Fetch asks for the document. etcd can't tell "unchanged" by content, so it is sent each time; a
// revision would lie once etcd was restored from a backup.
func (s Source) Fetch(ctx context.Context, tag string) (remoteconfig.Fetched, error) {
	ctx, conn, closing, err := s.connect(ctx)
	if err != nil {
		return remoteconfig.Fetched{}, failed(ctx, err)
	}
	defer closing()
	answer, err := etcdserverpb.NewKVClient(conn).Range(ctx,
		&etcdserverpb.RangeRequest{Key: []byte(s.Key)}, grpc.MaxCallRecvMsgSize(maxMessage))
	switch {
	case err != nil:
		return remoteconfig.Fetched{}, failed(ctx, err)
	case len(answer.Kvs) == 0:
		return remoteconfig.Fetched{}, &remoteconfig.FetchError{Err: ErrNoDocument}
	}
	document := answer.Kvs[0].Value
	if len(document) > maxDocument {
		return remoteconfig.Fetched{}, remoteconfig.ErrTooLarge
	}
	sum := sha256.Sum256(document)
	if now := hex.EncodeToString(sum[:]); now != tag {
		return remoteconfig.Fetched{Document: document, Tag: now}, nil
	}
	return remoteconfig.Fetched{Tag: tag, Unchanged: true}, nil
}

// Watch watches the key from now on, on a stream of its own: the client library's mends its streams
// within a moment, and all clients' at once. There is no revision to go on from, so a compaction
// can't get ahead of it. A member without a leader ends it, since it hears of nothing.
func (s Source) Watch(ctx context.Context, changed func()) error {
	ctx, conn, closing, err := s.connect(ctx)
	if err != nil {
		return failed(ctx, err)
	}
	defer closing()
	stream, err := etcdserverpb.NewWatchClient(conn).Watch(ctx, grpc.MaxCallRecvMsgSize(maxMessage))
	if err != nil {
		return failed(ctx, err)
	}
	create := &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{Key: []byte(s.Key)}}
	err = stream.Send(&etcdserverpb.WatchRequest{RequestUnion: create})
	for err == nil {
		var answer *etcdserverpb.WatchResponse
		answer, err = stream.Recv()
		switch {
		case err != nil:
		case answer.Canceled:
			err = fmt.Errorf("etcd: the watch was cancelled: %s", answer.CancelReason)
		default: // it stands, or tells of a change
			changed()
		}
	}
	return failed(ctx, err)
}

// connect returns a connection for one call, and its context, which ends with closing. What the
// client library itself sends would wait for a server that is away, and dial until then; over its
// connection, a call fails as soon as no server can be reached.
func (s Source) connect(ctx context.Context) (context.Context, *grpc.ClientConn, func(), error) {
	config := s.Config
	config.Context = ctx
	config.AutoSyncInterval = 0
	config.MaxUnaryRetries = 1 // attempts, in fact
	config.Username, config.Password = "", ""
	if config.DialKeepAliveTime == 0 {
		config.DialKeepAliveTime, config.DialKeepAliveTimeout = pingTime, 20*time.Second
	}
	if config.Logger == nil && config.LogConfig == nil {
		config.Logger = zap.NewNop()
	}
	client, err := clientv3.New(config)
	if err != nil {
		return ctx, nil, nil, err
	}
	called, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	closing := func() {
		cancel()
		_ = client.Close()
	}
	called, err = s.authenticate(called, client.ActiveConnection())
	if err != nil {
		closing()
		return ctx, nil, nil, err
	}
	return called, client.ActiveConnection(), closing, nil
}

// authenticate adds the token that etcd gives for a name and a password, if there are any.
func (s Source) authenticate(ctx context.Context, conn *grpc.ClientConn) (context.Context, error) {
	if s.Config.Username == "" {
		return ctx, nil
	}
	answer, err := etcdserverpb.NewAuthClient(conn).Authenticate(ctx,
		&etcdserverpb.AuthenticateRequest{Name: s.Config.Username, Password: s.Config.Password})
	switch {
	case err == nil:
		return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, answer.Token), nil
	case errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled):
		return ctx, nil // as etcd's own client has it
	}
	return ctx, err
}

// failed tells why the context ended, if it did, rather than what came of that.
func failed(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		err = ended
	} else if known, ok := status.FromError(err); ok {
		err = errors.New(known.Message())
	}
	return &remoteconfig.FetchError{Err: fmt.Errorf("etcd: no answer: %w", err)}
}
