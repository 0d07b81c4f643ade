package server

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/awa"
)

// A web page may make its reader's browser send requests to any address, that
// of an agent on the same machine too. The browser adds headers that no page
// can leave out or forge, and that none of our clients sends. A page whose name
// its owner makes stand for 127.0.0.1 (DNS rebinding) may even read the
// answers, but the browser still sends that name as Host.

// The headers that browsers alone send: https://fetch.spec.whatwg.org/#origin-header
// and https://www.w3.org/TR/fetch-metadata/.
const (
	headerOrigin    = "Origin"
	headerFetchSite = "Sec-Fetch-Site" // none: a person typed the address
	headerFetchDest = "Sec-Fetch-Dest" // document: a person is shown the answer
)

// fromPage refuses what a web page made a browser send.
func fromPage(ctx *fasthttp.RequestCtx) error {
	head := &ctx.Request.Header
	site := string(head.Peek(headerFetchSite))
	if len(head.PeekAll(headerOrigin)) == 0 && (site == "" || site == "none") {
		return nil
	}
	return pageAsks()
}

// fromOtherPage is fromPage for what people may look at with a browser: they
// may come from a page that links to it.
func fromOtherPage(ctx *fasthttp.RequestCtx) error {
	if len(ctx.Request.Header.PeekAll(headerOrigin)) == 0 &&
		string(ctx.Request.Header.Peek(headerFetchDest)) == "document" {
		return nil
	}
	return fromPage(ctx)
}

func pageAsks() error {
	return awa.Faultf(awa.ErrForbidden, "a web page asks (the request has the header Origin or Sec-Fetch-Site), and "+
		"no page may: use awa-agent, check_awa or curl")
}

// fromForm refuses a body of a kind that a page's form can make any browser
// send, even one without those headers. JSON is not among them, nor is what
// curl says when it is not configured.
func fromForm(ctx *fasthttp.RequestCtx) error {
	media, _, _ := strings.Cut(string(ctx.Request.Header.ContentType()), ";")
	switch media = strings.ToLower(strings.TrimSpace(media)); media {
	case "text/plain", "multipart/form-data":
		return awa.Faultf(awa.ErrForbidden, "a body that says it is %s may come from a web page, and no page may ask: "+
			"send Content-Type: application/json", media)
	}
	return nil
}

// ownHost refuses a request that was meant for another host than this agent.
func (h *handler) ownHost(ctx *fasthttp.RequestCtx) error {
	for _, host := range [][]byte{ctx.Request.Header.Host(), ctx.URI().Host()} { // they differ in GET http://HOST/… alone
		if !h.isOwn(string(host)) {
			return awa.Faultf(awa.ErrForbidden, "the request is for %s, which is not a name of this agent, so a web page "+
				"may have sent it: use the agent's IP address, its name or its host on the node list, or give the "+
				"agents a key", awa.Clip(string(host)))
		}
	}
	return nil
}

// isOwn reports whether a Host stands for this agent: none, an IP address,
// localhost, or one of its names, each with any port. Nobody can make a browser
// send an address that isn't the one it asks.
func (h *handler) isOwn(host string) bool {
	name := hostname(host)
	if name == "" || name == "localhost" || isAddress(name) {
		return true
	}
	return slices.ContainsFunc(h.hosts(), func(own string) bool { return own != "" && name == hostname(own) })
}

// hostname is a host without its port and in the form in which it is compared.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func isAddress(name string) bool {
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
	return err == nil
}

// admitBrowser is admit's part against web pages. With a key a page needs its
// reader's certificate, and then a name that it made up fails the handshake.
func (h *handler) admitBrowser(ctx *fasthttp.RequestCtx) error {
	err := fromPage(ctx)
	if err == nil && ctx.IsPost() {
		err = fromForm(ctx)
	}
	if err == nil && h.role == nil && h.hosts != nil {
		err = h.ownHost(ctx)
	}
	return err
}
