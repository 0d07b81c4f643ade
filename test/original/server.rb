# frozen_string_literal: true

# A server as the original program has one: it registers itself by a push to a
# server that it was told of, takes changes in their turn, and answers pings. Its list
# is in memory.
#
# usage: ruby server.rb NAME PORT HOST:PORT

require 'json'
require 'net/http'
require 'socket'

name, port, contact = ARGV
$changes = []
STATUSES = { 200 => 'OK', 404 => 'Not Found', 409 => 'Conflict' }.freeze

def take(change)
  id = change.fetch('id')
  return [200, 'Change already applied'] if id <= $changes.size
  return [409, 'A change before it is missing'] unless id == $changes.size + 1

  $changes << [id, change.fetch('action'), change.fetch('data')]
  [200, 'Change applied']
end

def ping
  state = $changes.empty? ? -1 : $changes.size
  JSON.generate(status: { macaddr: '1a:d6:6e:ce:b5:5f', db_state: state, time: Time.now.to_i })
end

def answer(method, path, body)
  case [method, path.split('?').first]
  when %w[GET /ping] then [200, ping]
  when %w[GET /sync] then [200, JSON.generate($changes)]
  when %w[POST /push] then take(JSON.parse(body))
  else [404, 'There is no such page']
  end
end

def serve(socket)
  method, path = socket.gets.to_s.split
  return if path.nil?

  length = 0
  while (line = socket.gets.to_s.chomp) != ''
    key, value = line.split(': ', 2)
    length = Integer(value) if key.casecmp?('content-length')
  end
  code, text = answer(method, path, length.positive? ? socket.read(length) : '')
  socket.write("HTTP/1.1 #{code} #{STATUSES.fetch(code)}\r\nContent-Type: application/json\r\n" \
               "Content-Length: #{text.bytesize}\r\nConnection: close\r\n\r\n#{text}")
ensure
  socket.close
end

def call(request, host, port)
  Net::HTTP.start(host, Integer(port), open_timeout: 5, read_timeout: 5) { |http| http.request(request) }
end

def register(name, port, contact)
  host, other = contact.split(':')
  sync = call(Net::HTTP::Get.new('/sync?state=-1'), host, other)
  JSON.parse(sync.body).each { |id, action, data| take('id' => id, 'action' => action, 'data' => data) }
  change = { id: $changes.size + 1, action: 'CREATE',
             data: JSON.generate(name: name, host: '127.0.0.1', port: port) }
  request = Net::HTTP::Post.new('/push', 'Content-Type' => 'application/json')
  request.body = JSON.generate(change)
  response = call(request, host, other)
  raise "push: #{response.code} #{response.body}" unless response.is_a?(Net::HTTPOK)
end

server = TCPServer.new('127.0.0.1', Integer(port))
register(name, port, contact)
loop { serve(server.accept) }
