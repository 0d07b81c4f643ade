package store

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
)

// bbolt trusts its pages: on a damaged one it reads outside the file, in a
// goroutine of its own (Tx.Check, and Open where it looks for free pages), where
// neither debug.SetPanicOnFault nor recover helps: the process ends. So the pages are
// checked here, with plain reads of the file, before bbolt follows
// any of them but the two meta pages, which carry a checksum.
// The rules are those of bbolt's own check, and the layout is that of its
// internal/common (page.go, meta.go), file version 2, in the machine's own
// byte order:
//
//	page          id u64, flags u16, count u16, overflow u32 (further pages that belong to it), then its elements
//	branch        count × { pos u32, key size u32, page u64 }, then the keys
//	leaf          count × { flags u32, pos u32, key size u32, value size u32 }, then keys and values
//	freelist      count × page u64; a count of 65535 means that the first u64 is the count
//	meta          magic u32, version u32, page size u32, flags u32, root u64, sequence u64, freelist u64,
//	              pages u64, txid u64, checksum u64
//	bucket value  root u64, sequence u64; when root is 0, a leaf page follows
//
// where pos counts from the start of its element.
const (
	pageHeader   = 16
	elementSize  = 16
	bucketHeader = 16

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketElement = 0x01 // flag of a leaf's element

	metaMagic = 0xED0CDAED
	metaSize  = 64
	noPage    = math.MaxUint64

	maxDepth = 64 // far more than bbolt makes
)

// pages is the check of one file.
type pages struct {
	file  io.ReaderAt
	size  int      // of a page, bytes
	seen  []bool   // by page id; as long as the file has pages in use
	bytes [][]byte // by depth: the page being walked there
}

// page is one page, or a bucket that is small enough to stand in a value.
type page struct {
	id    uint64
	flags uint16
	count int
	bytes []byte // header included
}

// element is one of a page's elements.
type element struct {
	bucket     bool
	child      uint64 // of a branch
	key, value []byte
}

// checkPages checks every page that the newest good meta page, which is
// transaction txid's, leads to. A file with one bad meta page is taken as
// bbolt takes it: such a page is most likely a write that a power failure cut
// short, and then nobody was answered that its transaction is on disk.
func checkPages(file io.ReaderAt, size, txid int) error {
	c := &pages{file: file, size: size}
	if size < pageHeader+metaSize {
		return damage("it can't have pages of %d bytes", size)
	}
	root, freelist, end, err := c.meta(uint64(txid))
	if err != nil {
		return err
	}
	if end > math.MaxInt64/uint64(size) {
		return damage("it can't have %d pages", end)
	}
	if n, err := file.ReadAt(make([]byte, 1), int64(end)*int64(size)-1); n != 1 {
		if err == io.EOF {
			return damage("it is cut off: %d pages are in use", end)
		}
		return err
	}
	c.seen = make([]bool, end)
	if _, err := c.walk(root, 0, nil, true); err != nil {
		return err
	}
	if freelist == noPage {
		return nil
	}
	return c.freelist(freelist)
}

// meta reads the meta page of a transaction: the root page, the page of the
// list of free pages, and the number of pages in use. bbolt has looked at its
// checksum.
func (c *pages) meta(txid uint64) (root, freelist, end uint64, err error) {
	b := make([]byte, pageHeader+metaSize)
	for i := range int64(2) {
		if _, err := c.file.ReadAt(b, i*int64(c.size)); err != nil {
			return 0, 0, 0, err
		}
		word := func(at int) uint64 { return binary.NativeEndian.Uint64(b[pageHeader+at:]) }
		if uint32(word(0)) == metaMagic && word(48) == txid {
			root, freelist, end = word(16), word(32), word(40)
		}
	}
	if end < 2 {
		return 0, 0, 0, damage("its newest meta page can't be found")
	}
	return root, freelist, end, nil
}

// walk checks the tree below a page, whose keys must rise and not be below
// from. It returns the last one, which is valid until the next walk at this
// depth. root marks the tree of the buckets.
func (c *pages) walk(id uint64, depth int, from []byte, root bool) (last []byte, err error) {
	p, err := c.read(id, depth)
	switch {
	case err != nil:
		return nil, err
	case p.flags == leafPage:
		return c.leaf(p, depth, from, root)
	case p.flags != branchPage || p.count == 0:
		return nil, damage("page %d is not of the tree", id)
	}
	last = from
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return nil, err
		}
		if !inOrder(i, last, e.key) {
			return nil, damage("the keys of page %d are out of order", id)
		}
		if last, err = c.walk(e.child, depth+1, e.key, root); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// leaf checks a leaf, and the buckets that begin in it.
func (c *pages) leaf(p page, depth int, from []byte, root bool) (last []byte, err error) {
	last = from
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return nil, err
		}
		if !inOrder(i, last, e.key) {
			return nil, damage("the keys of page %d are out of order", p.id)
		}
		last = e.key
		if e.bucket != root {
			return nil, damage("page %d holds a bucket where none can be, or none where one must be", p.id)
		}
		if e.bucket {
			if err := c.bucket(p.id, e.value, depth); err != nil {
				return nil, err
			}
		}
	}
	return last, nil
}

// bucket checks a bucket's tree, or the leaf that stands in its value.
func (c *pages) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return damage("a bucket on page %d is cut off", id)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		_, err := c.walk(root, depth+1, nil, false)
		return err
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader {
		return damage("a bucket on page %d is cut off", id)
	}
	p := parsePage(inline)
	p.id = id
	if p.flags != leafPage {
		return damage("a bucket on page %d is not a leaf", id)
	}
	_, err := c.leaf(p, depth, nil, false)
	return err
}

// read reads a page that belongs to the tree. Each page has one place in it.
func (c *pages) read(id uint64, depth int) (page, error) {
	if id < 2 || id >= uint64(len(c.seen)) || depth > maxDepth {
		return page{}, damage("page %d can't be where it is", id)
	}
	if depth == len(c.bytes) {
		c.bytes = append(c.bytes, make([]byte, c.size))
	}
	b := c.bytes[depth][:c.size]
	at := int64(id) * int64(c.size)
	if _, err := c.file.ReadAt(b, at); err != nil {
		return page{}, err
	}
	p := parsePage(b)
	more := uint64(binary.NativeEndian.Uint32(b[12:]))
	if p.id != id || more >= uint64(len(c.seen))-id {
		return page{}, damage("page %d is not itself", id)
	}
	for i := id; i <= id+more; i++ {
		if c.seen[i] {
			return page{}, damage("page %d is used twice", i)
		}
		c.seen[i] = true
	}
	if more > 0 {
		b = append(b, make([]byte, int(more)*c.size)...)
		if _, err := c.file.ReadAt(b[c.size:], at+int64(c.size)); err != nil {
			return page{}, err
		}
		c.bytes[depth], p.bytes = b, b
	}
	return p, nil
}

// freelist checks the list of free pages. The files of this package have
// none, but bbolt's own tools write one.
func (c *pages) freelist(id uint64) error {
	p, err := c.read(id, 0)
	if err != nil {
		return err
	}
	if p.flags != freelistPage {
		return damage("page %d is not a list of free pages", id)
	}
	count, ids := uint64(p.count), p.bytes[pageHeader:]
	if p.count == math.MaxUint16 {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return damage("the list of free pages on page %d is cut off", id)
	}
	for i := range count {
		free := binary.NativeEndian.Uint64(ids[8*i:])
		if free < 2 || free >= uint64(len(c.seen)) || c.seen[free] {
			return damage("page %d is in the list of free pages and can't be free", free)
		}
		c.seen[free] = true
	}
	return nil
}

func parsePage(b []byte) page {
	return page{
		id:    binary.NativeEndian.Uint64(b),
		flags: binary.NativeEndian.Uint16(b[8:]),
		count: int(binary.NativeEndian.Uint16(b[10:])),
		bytes: b,
	}
}

// element returns the page's element i; i must be below its count.
func (p page) element(i int) (element, error) {
	start, first := pageHeader+elementSize*i, pageHeader+elementSize*p.count
	if first > len(p.bytes) {
		return element{}, damage("page %d has more elements than room", p.id)
	}
	word := func(n int) uint64 { return uint64(binary.NativeEndian.Uint32(p.bytes[start+4*n:])) }
	var e element
	var pos, keySize, valueSize uint64
	if p.flags == branchPage {
		pos, keySize = word(0), word(1)
		e.child = binary.NativeEndian.Uint64(p.bytes[start+8:])
	} else {
		pos, keySize, valueSize = word(1), word(2), word(3)
		e.bucket = word(0) == bucketElement
		if word(0) > bucketElement {
			return element{}, damage("element %d of page %d has unknown flags", i, p.id)
		}
	}
	at := uint64(start) + pos
	if at < uint64(first) || at+keySize+valueSize > uint64(len(p.bytes)) || keySize == 0 {
		return element{}, damage("element %d of page %d lies outside it", i, p.id)
	}
	e.key, e.value = p.bytes[at:at+keySize], p.bytes[at+keySize:at+keySize+valueSize]
	return e, nil
}

// inOrder reports whether a page's key i may follow last: the key before it, or,
// when i is 0, the least key that the page may hold.
func inOrder(i int, last, key []byte) bool {
	n := bytes.Compare(last, key)
	return n < 0 || n == 0 && i == 0
}
