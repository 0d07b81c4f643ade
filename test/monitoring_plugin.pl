# What Perl's Monitoring::Plugin makes of ranges and perfdata: it reads one
# JSON object a line and answers each with one.
#
#   {"range": "10:20", "values": ["5", "15"]}   {"taken": true, "alerts": [true, false]}
#   {"warning": "", "critical": "0", "values": ["1"]}   {"codes": [2]}
#   {"perfdata": "a=1s;;2;0"}                   {"perfdata": [{"label": "a", ...}]}
#
# Its own words about what it refuses are left out.
use strict;
use warnings;
use JSON::PP;
use Monitoring::Plugin::Performance;
use Monitoring::Plugin::Range;
use Monitoring::Plugin::Threshold;

local $SIG{__WARN__} = sub { };
my $json = JSON::PP->new->canonical;

sub range {
	my ($q) = @_;
	my $range = Monitoring::Plugin::Range->parse_range_string($q->{range});
	return { taken => JSON::PP::false } unless defined $range;
	return {
		taken  => JSON::PP::true,
		alerts => [ map { $range->check_range($_) ? JSON::PP::true : JSON::PP::false } @{ $q->{values} } ],
	};
}

sub codes {
	my ($q) = @_;
	my $threshold = Monitoring::Plugin::Threshold->new(warning => $q->{warning}, critical => $q->{critical});
	return { codes => [ map { $threshold->get_status($_) + 0 } @{ $q->{values} } ] };
}

sub perfdata {
	my ($q) = @_;
	my @fields = qw(label value uom warning critical min max);
	my @all;
	for my $p (Monitoring::Plugin::Performance->parse_perfstring($q->{perfdata})) {
		push @all, { map { ($_ => defined $p->$_ ? "" . $p->$_ : "") } @fields };
	}
	return { perfdata => \@all };
}

while (my $line = <STDIN>) {
	my $q = $json->decode($line);
	my $answer = exists $q->{range} ? range($q) : exists $q->{perfdata} ? perfdata($q) : codes($q);
	print $json->encode($answer), "\n";
}
