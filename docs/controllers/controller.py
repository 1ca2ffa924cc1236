#!/usr/bin/python3
"""controller.py create | move HOST | remove: a virtual machine, with Python's ovsdbapp."""
import os
import sys

from ovsdbapp import api
from ovsdbapp.backend import ovs_idl
from ovsdbapp.backend.ovs_idl import connection, event, idlutils


class Finished(event.WaitEvent):
    """The status of a task says when it was finished."""

    def __init__(self, task):
        super().__init__((self.ROW_CREATE, self.ROW_UPDATE), 'Task_Status',
                         (('task', '=', str(task)),), timeout=600)
        self.status = None

    def match_fn(self, kind, row, old=None):
        return super().match_fn(kind, row, old) and row.finished != []

    def run(self, kind, row, old=None):
        self.status = row
        super().run(kind, row, old)


class Idl(connection.OvsdbIdl):
    """Tells of every change to a row."""
    handler = event.RowEventHandler()

    def notify(self, kind, row, updates=None):
        self.handler.notify(kind, row, updates)


class Controller(ovs_idl.Backend, api.API):
    lookup_table = {table: idlutils.RowLookup(table, 'name', None)
                    for table in ('Network', 'Application', 'Binding')}

    def run_task(self, kind, **arguments):
        """Asks for a task and returns when it has ended."""
        task = self.db_create('Task', kind=kind, application='vm1', arguments=arguments,
                              requested_by='controller.py').execute(check_error=True)
        finished = Finished(task)
        self.idl.handler.watch_event(finished)
        for row in self.db_list_rows('Task_Status').execute(check_error=True):
            if finished.match_fn(finished.ROW_CREATE, row):  # before it was watched
                finished.run(finished.ROW_CREATE, row)
        if not finished.wait():
            sys.exit(f'{kind}: not finished within {finished.timeout} s')
        self.db_destroy('Task', task).execute(check_error=True)
        if finished.status.state != 'succeeded':
            sys.exit(f'{kind}: {finished.status.state}: {finished.status.error}')
        print(f'{kind}: done')

    def create(self):
        with self.transaction(check_error=True) as transaction:
            transaction.add(self.db_create('Network', name='net1', vni=100,
                                           subnets=['10.1.0.0/24', 'fd01::/64']))
            transaction.add(self.db_create('Application', name='vm1', driver='qemu',
                                           launch_profile='qemu-tiny',
                                           properties={'memory_mib': '256', 'vcpus': '1'}))
            transaction.add(self.db_create('Binding', name='vm1', application='vm1', network='net1',
                                           mac='52:54:00:00:01:05', location='hostA',
                                           prior_addresses=['10.1.0.5', 'fd01::5']))
        self.run_task('start')

    def move(self, host):
        self.run_task('move', destination=host)

    def remove(self):
        self.run_task('stop')
        with self.transaction(check_error=True) as transaction:
            transaction.add(self.db_destroy('Binding', 'vm1'))
            transaction.add(self.db_destroy('Application', 'vm1'))
            transaction.add(self.db_destroy('Network', 'net1'))


if sys.argv[1:2] not in (['create'], ['move'], ['remove']):
    sys.exit(f'usage: {sys.argv[0]} create | move HOST | remove')
database = os.environ.get('DB', 'unix:/var/lib/homeport/homeport.sock')
controller = Controller(connection.Connection(Idl.from_server(database, 'Homeport'), timeout=30))
getattr(controller, sys.argv[1])(*sys.argv[2:])
