# frozen_string_literal: true

# A client that reads a cluster as the original program's status mode does:
# it fetches the changes that its SQLite database lacks, applies them to its
# own node list, pings each node in turn, and prints who is alive.
#
# usage: ruby status_client.rb HOST PORT DATABASE

require 'json'
require 'net/http'
require 'sqlite3'

# The node list and the log of its changes, in SQLite. Both ids are given by
# AUTOINCREMENT: they agree with the cluster's only as long as the cluster
# counts alike.
class NodeList
  def initialize(path)
    @db = SQLite3::Database.new(path)
    @db.results_as_hash = true
    @db.execute_batch(<<~SQL)
      CREATE TABLE IF NOT EXISTS nodes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, host TEXT NOT NULL, port TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS nodes_changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, data TEXT NOT NULL);
    SQL
  end

  # The id of the newest change, -1 when there is none.
  def state
    @db.get_first_value('SELECT MAX(id) FROM nodes_changes') || -1
  end

  def all
    @db.execute('SELECT * FROM nodes ORDER BY id')
  end

  def apply(id, action, data)
    raise "change #{id} does not follow state #{state}" unless id == [state, 0].max + 1

    @db.transaction do
      change_node(action, JSON.parse(data))
      @db.execute('INSERT INTO nodes_changes (action, data) VALUES (?, ?)', [action, data])
      raise "change #{id} got the id #{@db.last_insert_row_id}" unless @db.last_insert_row_id == id
    end
  end

  private

  def change_node(action, node)
    case action
    when 'CREATE'
      @db.execute('INSERT INTO nodes (name, host, port) VALUES (?, ?, ?)', node.values_at('name', 'host', 'port'))
      raise "node #{node['id']} got the id #{@db.last_insert_row_id}" unless @db.last_insert_row_id == node['id']
    when 'UPDATE'
      @db.execute('UPDATE nodes SET name = ?, host = ?, port = ? WHERE id = ?', node.values_at('name', 'host', 'port', 'id'))
    when 'DELETE'
      @db.execute('DELETE FROM nodes WHERE id = ?', [node['id']])
    else
      raise "unknown action #{action}"
    end
  end
end

def get(host, port, path)
  Net::HTTP.start(host, Integer(port), open_timeout: 5, read_timeout: 5) do |http|
    response = http.get(path)
    raise "#{path}: #{response.code} #{response.body}" unless response.is_a?(Net::HTTPOK)

    JSON.parse(response.body)
  end
end

# A node is alive when its answer holds all that the protocol promises.
def status(node)
  answer = get(node['host'], node['port'], '/ping').fetch('status')
  complete = answer['macaddr'].is_a?(String) && answer['db_state'].is_a?(Integer) && answer['time'].is_a?(Integer)
  complete ? 'Online' : 'Offline'
rescue SystemCallError, SocketError, Timeout::Error, IOError
  'Offline'
end

host, port, database = ARGV
list = NodeList.new(database)
get(host, port, "/sync?state=#{list.state}").each { |id, action, data| list.apply(id, action, data) }

row = '%-12s %-20s %-6s %s'
puts format(row, 'Name', 'Host', 'Port', 'Status')
list.all.each { |node| puts format(row, node['name'], node['host'], node['port'], status(node)) }
